"""Starts TensorZero's embedded HTTP gateway; it picks a port itself and tells it in a file."""
# mypy: ignore-errors

import pathlib
import sys
import threading
import urllib.parse
import warnings

import openai
import tensorzero

config_file, port_file = sys.argv[1:]
warnings.simplefilter("ignore")
client = openai.OpenAI(api_key="none")
tensorzero.patch_openai_client(client, config_file=config_file, async_setup=False)
pathlib.Path(port_file).write_text(str(urllib.parse.urlsplit(str(client.base_url)).port))
threading.Event().wait()
