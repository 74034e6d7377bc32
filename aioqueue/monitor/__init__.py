"""What people look at: the live screen of `aioqueue top`, and how anything of a job's is made safe to show."""
