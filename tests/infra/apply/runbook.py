"""The `sh` blocks of infra/README.md, by name. A block is run as it stands there; one that cannot be is marked
`sh not run: why`, and one without a name is an error."""

import re
import textwrap

FENCE = re.compile(r"^ *(?:\d+\. )?```sh(?: (.*))?$")


def blocks(readme):
    found, skipped, lines = {}, {}, iter(readme.read_text().splitlines())
    for line in lines:
        if not (fence := FENCE.match(line)):
            continue
        text = []
        for inner in lines:
            if inner.strip() == "```":
                break
            text.append(inner)
        name = fence[1] or ""
        if not name or name in found:
            raise SystemExit(f"{readme}: the sh block {name or text} needs a name of its own")
        if name.startswith("not run: "):
            skipped[text[0].strip()] = name.removeprefix("not run: ")
        else:
            found[name] = textwrap.dedent("\n".join(text)) + "\n"
    return found, skipped
