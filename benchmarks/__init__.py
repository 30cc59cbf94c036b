"""What the framework costs and does per second, measured on the machine at hand."""
