"""The plugin package of a proposal: its module, tests and README."""

from kit.adapt.code import constants, index_code, specs, title
from kit.adapt.drawing import miniature_code
from kit.adapt.proposal import Proposal
from kit.console import clean
from kit.scaffold.package import package_names

TEST = '''\
"""Does the plugin keep kit's contract?"""

from kit import testing

test_contract = testing.suite("{module}")
'''


def package_files(found: Proposal) -> dict[str, str]:
    """Return the files of the package by name."""
    names = package_names(found.name)
    module = f'''"""{title(found.name)}, a competition of the task {found.task}, written by kit adapt."""

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl

{constants(found)}
'''
    code = module + specs(found) + "\n\n" + index_code(found).lstrip("\n") + miniature_code(found)
    return {
        "pyproject.toml": names.pyproject(f"{title(found.name)}, a competition for kit"),
        f"{names.module}.py": code,
        f"test_{names.word}.py": TEST.format(module=names.module),
        "README.md": _readme(found, names.distribution),
    }


def _readme(found: Proposal, distribution: str) -> str:
    name = found.name
    target = found.target if isinstance(found.target, str) else f"{len(found.target)} columns"
    said = clean(
        f"a {found.task} task, target {target}, {len(found.classes)} classes or numbers, metric {found.metric}"
    )
    said = said.replace("\n", " ")
    return f"""# {distribution}

What `kit adapt` found in a folder: {said}.
`kit_{name.replace("-", "_")}.py` reads its tables and images and writes its csv. Change what it has taken wrongly.

    pip install -e .
    kit test-plugin {name}
    kit download {name} --from FOLDER
    kit check {name} && kit folds {name}
    kit train {name} && kit predict && kit submit --dry-run
"""
