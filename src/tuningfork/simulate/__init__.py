"""A sky with known truth: galaxies drawn from their parameters, and volunteers who look at them."""
