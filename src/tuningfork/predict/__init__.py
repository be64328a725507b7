"""From weights and a store of cutouts to votes at rest."""
