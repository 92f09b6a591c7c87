"""The data plane: one port, every protocol, and the routes behind them."""
