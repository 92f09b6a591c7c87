"""Providers by their names: where they are, and which variable of the environment has their key.

Variables are those of the vendors' own SDKs, so that what works with one of them works here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from stream_gateway.api.errors import WrongOption
from stream_gateway.config import (
    Config,
    ConfigError,
    ProviderSettings,
    RouteSettings,
    TargetSettings,
    load_config,
)
from stream_gateway.config.checks import check
from stream_gateway.upstream.keys import read_key

ANY: Final = "*"
DEMO: Final = "demo"

PATIENCE: Final = 86_400.0
"""Seconds for which an application may let its only stream wait: it is nobody else's provider that is held up."""


class Vendor(msgspec.Struct, frozen=True):
    """A provider that needs no configuration.

    Attributes:
        base_url: without `path`, as its SDK's variable `base_url_env` has it.
        keys: variables, the first one that is set counts; none: it takes no key.
    """

    dialect: Literal["openai_chat", "anthropic", "gemini"]
    base_url: str
    base_url_env: str
    keys: tuple[str, ...] = ()
    path: str = ""


def _compatible(base_url: str, name: str) -> Vendor:
    return Vendor("openai_chat", base_url, f"{name}_BASE_URL", (f"{name}_API_KEY",))


VENDORS: Final = {
    "openai": _compatible("https://api.openai.com/v1", "OPENAI"),
    "anthropic": Vendor(
        "anthropic", "https://api.anthropic.com", "ANTHROPIC_BASE_URL", ("ANTHROPIC_API_KEY",), path="/v1"
    ),
    "gemini": Vendor(
        "gemini",
        "https://generativelanguage.googleapis.com",
        "GOOGLE_GEMINI_BASE_URL",
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        path="/v1beta",
    ),
    "deepseek": _compatible("https://api.deepseek.com/v1", "DEEPSEEK"),
    "groq": _compatible("https://api.groq.com/openai/v1", "GROQ"),
    "mistral": _compatible("https://api.mistral.ai/v1", "MISTRAL"),
    "openrouter": _compatible("https://openrouter.ai/api/v1", "OPENROUTER"),
    "ollama": Vendor("openai_chat", "http://127.0.0.1:11434/v1", "OLLAMA_BASE_URL"),
}


def settings_of(name: str, vendor: Vendor, environ: Mapping[str, str]) -> ProviderSettings:
    """How a vendor is reached.

    Raises:
        WrongOption: none of its keys is set.
    """
    key = next((variable for variable in vendor.keys if environ.get(variable, "").strip()), None)
    if vendor.keys and key is None:
        raise WrongOption(f"Provider {name!r} needs a key: set the environment variable {' or '.join(vendor.keys)}.")
    base_url = environ.get(vendor.base_url_env, "").strip() or vendor.base_url
    return ProviderSettings(dialect=vendor.dialect, base_url=base_url.rstrip("/") + vendor.path, api_key_env=key)


def configuration(provider: str | None, config: Config | str | os.PathLike[str] | None) -> Config:
    """The configuration that a gateway's arguments mean.

    Raises:
        WrongOption: they mean none.
    """
    try:
        if config is None:
            return _of_vendor(provider)
        found = config if isinstance(config, Config) else load_config(Path(config))
        check(found, "config")
        for name, settings in found.providers.items():
            read_key(name, settings)
    except ConfigError as error:
        raise WrongOption(str(error)) from None
    if provider is None:
        return found
    if provider != DEMO and provider not in found.providers:
        known = ", ".join(sorted({*found.providers, DEMO}))
        raise WrongOption(f"There is no provider {provider!r} in this configuration; known: {known}.")
    return _leading_to(provider, found)


def _of_vendor(name: str | None) -> Config:
    config = load_config(None)
    config = msgspec.structs.replace(config, streams=msgspec.structs.replace(config.streams, stall_timeout=PATIENCE))
    if name == DEMO:
        return _leading_to(DEMO, config)
    vendor = None if name is None else VENDORS.get(name)
    if name is None or vendor is None:
        known = ", ".join([*VENDORS, DEMO])
        what = "Name a provider" if name is None else f"There is no provider {name!r}"
        raise WrongOption(f"{what}; known: {known}. Others need a configuration: StreamingGateway(config=…).")
    settings = settings_of(name, vendor, os.environ)
    found = msgspec.structs.replace(config, providers={name: settings})
    check(found, f"environment variable {vendor.base_url_env}")
    read_key(name, settings)
    return _leading_to(name, found)


def _leading_to(provider: str, config: Config) -> Config:
    """A configuration in which a provider takes every model that has no route of its own."""
    every = RouteSettings(targets=(TargetSettings(provider=provider, model=ANY),))
    return msgspec.structs.replace(config, routes={**config.routes, ANY: every})
