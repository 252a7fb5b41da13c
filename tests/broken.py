"""What breaks on purpose."""


def pull_the_plug(monkeypatch, runtime, call):
    """Let one submission to a runtime fail, by its number from 1."""
    submit, calls = runtime.submit, []

    def failing(tiles, greys):
        calls.append(1)
        if len(calls) == call:
            raise RuntimeError("pulled the plug")
        return submit(tiles, greys)

    monkeypatch.setattr(runtime, "submit", failing)
