"""docs/commands.md has every command and option, in the words of --help."""

from pathlib import Path

from unet_deploy.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_is_what_the_commands_say():
    assert PAGE.read_text() == reference(), "run: make reference"


def test_every_option_of_segment_is_there():
    segment = reference().partition("## segment")[2].partition("\n## ")[0]
    assert {"`-o, --output", "`--resume`", "`--roi Y,X,H,W`"} <= {
        line.split(" <")[0][2:].split(" |")[0] for line in segment.splitlines()
    }
