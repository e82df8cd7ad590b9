"""Look every installed package up among the published advisories: audit.py PIP-AUDIT FOLDER

It needs a network, so no test runs it. Exit 1: an advisory was found; 4: some or all packages could not be looked up.
"""

import json
import subprocess
import sys

OWN = "competition-kit"


def main(tool: str, folder: str) -> int:
    """Run pip-audit on the packages of a folder and say what it found, and what it could not look up."""
    command = [tool, "--path", folder, "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = [each for each in json.loads(done.stdout)["dependencies"] if each["name"] != OWN]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        print(f"error: the advisory service can't be reached, so nothing was checked ({last})", file=sys.stderr)
        return 4
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    found = [(each, advisory) for each in packages for advisory in each.get("vulns", ())]
    for each, advisory in found:
        mended = ", ".join(advisory.get("fix_versions") or ()) or "no version yet"
        print(f"{each['name']} {each['version']}: {advisory['id']}, mended in {mended}")
    print(f"{len(packages) - len(unknown)} packages looked up, {len(found)} advisories")
    if found:
        return 1
    if unknown:
        print(
            f"error: {len(unknown)} of {len(packages)} packages could not be looked up, e.g. {unknown[0]}: "
            "is the advisory service reached? Run make audit where there is a network",
            file=sys.stderr,
        )
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
