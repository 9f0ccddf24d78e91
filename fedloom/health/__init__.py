"""What `fedloom doctor` and `fedloom-edge doctor` have in common."""
