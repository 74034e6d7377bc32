"""The caller's side: tasks, options, jobs, and the connection that submits them."""
