"""What a fleet does to a job: time, absence, batteries, slow links and lies, on a virtual clock. Pure and seeded."""
