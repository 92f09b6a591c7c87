"""The gateway as an ASGI application: `app.mount("/ai", GatewayApp(config="gateway.toml"))`."""

from stream_gateway.asgi.app import GatewayApp as GatewayApp
