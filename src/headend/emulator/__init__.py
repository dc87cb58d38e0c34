"""Virtual meters and fleets of them."""
