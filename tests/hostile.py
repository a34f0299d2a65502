"""Strings that a class, a file, a log line or an answer of AWS may hold, and that must stay text wherever they show."""

import unicodedata

BIDI = "\u202e\u2066\u200f"
CORPUS = (
    "\x1b[2J\x1b[Hcleared",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]0;title\x07",
    "\x1b]52;c;ZXZpbA==\x07",
    '\x1bP$q"p\x1b\\',
    "\x1bc",
    "\x9b31mred",
    "\x9d8;;x\x9c",
    "\x00nul",
    "bell\x07",
    "back\x08\x08\x08\x08space",
    "over\rwritten",
    "two\nlines",
    "para\n\n# PASSED\n\ngraph",
    "form\x0cfeed\x0bvt",
    "del\x7f",
    "next\x85line",
    "\u2028line\u2029paragraph",
    f"bidi {BIDI}txt.exe",
    "\ufeffbom\u200bzero\xad",
    "tag\U000e0041\U000e007f",
    "lone \udcff\ud800",
    "[link=http://evil.example]click[/link]",
    "[bold red]PASS[/] [/nothing]",
    "<script>document.title='forged'</script>",
    "<img src=x onerror=\"document.title='forged'\">",
    "</script><b id=forged>",
    "<!-- comment",
    "&lt;b id=forged&gt; &#60;i&#62;",
    "[text](javascript:alert(1))",
    "![picture](/etc/passwd.png)",
    "# PASSED",
    "- item\n1. item\n> quote",
    "===\n---",
    "a | b | c |\n|---|---|---|",
    "`code` ``more`` **bold** _it_ ~~gone~~",
    "```\nfence",
    "http://evil.example www.evil.example <http://evil.example>",
    "[ref]: http://evil.example\n    indented",
    r"$\frac{1}{$ $$\nonsense$$ \x1b \| \[",
)
assert len(CORPUS) == 40


def harmful_in(text: str) -> set[str]:
    """Return the characters of a text, other than ends of lines, that a terminal or reader may act on."""
    return {
        repr(character)
        for character in text
        if character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    }
