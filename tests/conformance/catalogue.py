"""The list of cases. Each is a function that asks a server, and says nothing of what the answers should be."""

CASES = {}


def case(function):
    """Enters a case under its file's name and its own."""
    name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
    assert name not in CASES, f"two cases are called {name}"
    CASES[name] = function
    return function
