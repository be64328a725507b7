"""Why a model answers as it does, and what would make it answer otherwise."""
