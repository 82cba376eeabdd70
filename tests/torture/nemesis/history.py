"""The nemesis' own file of the history: what it does to the cluster, in the form that tests/torture/history.md gives."""

import time


class Keyword(str):
    """Written as :name instead of "name"."""


def edn(value):
    """A value as EDN: keywords, text, numbers, truth, lists, and maps with keywords as keys."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Keyword):
        return ":" + value
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, dict):
        return "{" + " ".join(f":{key} {edn(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(edn(item) for item in value) + "]"
    raise TypeError(f"there is no EDN for {value!r}")


class History:
    """Lines are complete when they are in the file: a reader never sees a half of one."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "w", encoding="utf-8", buffering=1)
        self.begun = time.monotonic_ns()
        self.counts = {}
        self.echo = None

    def write(self, name, **value):
        """One line `:info :f :name`; an underscore in a key is a dash."""
        now = time.monotonic_ns()
        value = {key.replace("_", "-"): item for key, item in value.items()}
        self.counts[name] = self.counts.get(name, 0) + 1
        self.file.write(f"{{:process :nemesis :type :info :f :{name} :time {now} :value {edn(value)}}}\n")
        if self.echo is not None:
            print(f"{(now - self.begun) / 1e9:8.2f}  {name}  {edn(value)}", file=self.echo, flush=True)

    def close(self):
        self.file.close()
