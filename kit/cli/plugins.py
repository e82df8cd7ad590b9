"""`kit plugins`: list the installed plugins, and why some are broken."""

from kit.cli.options import Json


def command(json: Json = False) -> None:
    """List the plugins, their hooks, and what is broken and why.

    Names that two plugins provide are listed as clashes. KIT_PLUGINS=a,b loads only those third-party plugins;
    KIT_PLUGINS= loads none.

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
