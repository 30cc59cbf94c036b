"""What every consumer of events stands on."""
