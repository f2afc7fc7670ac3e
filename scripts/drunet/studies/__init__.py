"""What is particular to one side-study. Everything general lives in the rooms that the studies draw on."""
