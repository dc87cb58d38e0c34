"""Reading meters on time: plans, schedule, lanes, poller."""
