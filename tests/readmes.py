"""The READMEs, and what stands in them: blocks, commands, links and flags."""

import dataclasses
import functools
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[1]
EXPERIMENTS = (
    *("classification", "segmentation", "detection"),
    *("ablation", "benchmark", "summary"),
)
OTHERS = ("export", "interpretation", "style_transfer")  # commands that need files
READMES = (
    "README.md",
    "CONTRIBUTING.md",
    "cnnjax/ops/README.md",
    "cnnjax/training/README.md",
    *(f"experiments/{name}/README.md" for name in (*EXPERIMENTS, *OTHERS)),
)
# Behind `python -m experiments.`, or in a column with this in its head.
COMMAND = re.compile(
    rf"(?:-m experiments\.|^\|.*\| `)({'|'.join(EXPERIMENTS)})((?: --[^\s`|#]+)*)", re.M
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]+)\)")
FLAG = re.compile(r"(?<![\w-])--([a-z]\w*)")
VALUE = re.compile(r"--([a-z]\w*)=([\w.:+,|/-]*[a-z0-9])(?=[\s`])")


@dataclasses.dataclass(frozen=True)
class Readme:
    """A README by its path from the root."""

    path: str

    @functools.cached_property
    def text(self):
        return (ROOT / self.path).read_text()

    @property
    def python(self):
        return [code for kind, code in BLOCK.findall(self.text) if kind == "python"]

    @property
    def commands(self):
        """Experiment and arguments of each, but of those shown with their error."""
        text = re.sub(r"\\\n\s*", "", self.text)  # commands of several lines
        text = re.sub(r"^\$ .*\nerror: .*", "", text, flags=re.M)
        found = COMMAND.findall(text)
        return [(name, tuple(shlex.split(arguments))) for name, arguments in found]

    @property
    def errors(self):
        """Experiment, arguments and message of each that is shown with its error."""
        shown = re.findall(r"^\$ (.*)\nerror: (.*)", self.text, flags=re.M)
        return [(*COMMAND.search(line).groups(), error) for line, error in shown]


ALL = [Readme(path) for path in READMES]
