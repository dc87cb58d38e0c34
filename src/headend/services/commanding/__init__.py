"""Commands on their way: what may be asked by whom, the books, the desks of the meters, and what is done there."""
