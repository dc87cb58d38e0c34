"""What Headend costs, measured against other stacks and against what the same machine does with bare means."""
