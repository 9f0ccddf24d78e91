"""Who is trusted with what, and how that changes: the operator's side of root documents."""
