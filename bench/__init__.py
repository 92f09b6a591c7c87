"""The latency harness: what the gateway costs, beside no gateway, beside its peers, and beside the floor.

`python -m bench --quick` is all a newcomer needs. Three kinds of process take part, each in its own:
an upstream that plays the provider (`bench.upstream`), one target between (`bench.targets`), and a load
generator (`bench.load`) that plays the clients. A case (`bench.cases`) asks one question of one target.
"""
