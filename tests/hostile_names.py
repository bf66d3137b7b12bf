"""Names that strangers give to files and objects, and what would trust them: a path, a terminal, a page."""

FILE_NAMES = [
    *(
        "\x1b[31mred",
        "\x1b]0;title\x07",
        "\x1b[2J\x1b[H",
        "\x9b31mred",
        "two\nlines",
        "back\rover",
        "\ttab",
        "bell\x07",
    ),
    *("gone\x7f\x08\x08", "\u202e4pm.exe", "\u2066turned\u2069", "\ufeffmark", "line\u2028apart", "zero\u200bwidth"),
    *("<script>alert(1)<", "<img src=x onerror=alert(1)>", "`code`", "``` fence", "[a](javascript:alert(1))"),
    *(
        "![a](http:127.0.0.1)",
        "%2e%2e%2fup",
        "%00",
        "a..%5cup",
        "x...",
        "~root",
        "$(id)",
        "; id",
        "-rf",
        "{0.__class__}",
    ),
    *("*?[", "w" * 240),
]
"""Parts of a path without their ending, as Linux lets them be; the slash and NUL it does not."""

OBJECT_NAMES = [
    *("../up", "../../up", "a/../../up", "a/..", "..", ".", "", "/", "/absolute", "//absolute", "a//b", "a/./b", "a/"),
    *("\0", "a\0b", "a/\0", "../" * 300 + "up", "\ud800", "a/\udfff/b", "x" * 300, "y/" * 2100 + "z"),
    *(
        "%2e%2e/up",
        "..%2fup",
        "..\\up",
        "\u202eup",
        "<script>",
        "two\nlines",
        "\x1b[31m",
        "~/up",
        "$HOME/up",
        "n" * 255,
    ),
    "/".join(["d" * 50] * 20) + "/end",  # 1,023 bytes: within what a bucket allows
]
"""Names of objects, which may hold slashes."""
