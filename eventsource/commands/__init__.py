"""The command side: partition owners and the client that talks to them."""
