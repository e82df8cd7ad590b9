"""kit plugins: what is installed, what of it is broken and why."""

from kit.cli.options import Json


def command(json: Json = False) -> None:
    """List the plugins with their hooks; the broken ones with the reason, and names that two of them give.

    KIT_PLUGINS=a,b keeps of the third-party plugins those named; empty, none of them.

    \b
    Example:
        kit plugins
        KIT_PLUGINS= kit plugins --json
    """
    from kit.cli.context import current_registry
    from kit.console import Console

    console = Console(json)
    registry = current_registry()
    plugins, clashes = registry.problems()
    console.table(
        "",
        ("name", "distribution", "version", "hooks"),
        [(p.name, p.distribution, p.version, ", ".join(p.hooks) if p.error is None else "BROKEN") for p in plugins],
    )
    for plugin in plugins:
        if plugin.error is not None:
            console.say(f"broken: {plugin.name} of {plugin.distribution} {plugin.version}: {plugin.error}")
    for clash in clashes:
        console.say(f"clash: {clash}")
    console.result({"plugins": [vars(plugin) for plugin in plugins], "clashes": [vars(clash) for clash in clashes]})
