# Makes a man page of each extension function of rtmv2.h: awk -v folder=DIR -v version=X -f man.awk rtmv2.h
#
# The header is a comment, made by cbindgen, and below it a declaration, for each function. The comment's
# paragraphs are: what it does; @param, each continued by indented lines; @return, its codes separated by
# semicolons; more text. Where neither parameters nor codes are, indented lines are set as they are.

function escape(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/'/, "\\(aq", text)
    if (text ~ /^[.]/)
        text = "\\\\\\&" text
    return text
}

# Adds a line to a section of the page.
function add(section, line) {
    body[section] = body[section] line "\n"
}

# Opens or closes a place where lines are not filled.
function verbatim(section, wanted) {
    if (wanted != literal)
        add(section, wanted ? ".RS 4\n.nf" : ".fi\n.RE")
    literal = wanted
}

# A code at the start of a line opens a paragraph.
function code(text) {
    if (text ~ /^ERROR_/)
        add("RETURN VALUE", ".PP")
    add("RETURN VALUE", escape(text))
}

# The first sentence, up to its first stop.
function summary(    i, text) {
    text = comment[1]
    for (i = 2; i <= lines && comment[i] != ""; i++)
        text = text " " comment[i]
    sub(/[.:;]( .*)?$/, "", text)
    while (match(text, /[.:;] /))
        text = substr(text, 1, RSTART - 1)
    if (text !~ /^Rtm/)
        text = tolower(substr(text, 1, 1)) substr(text, 2)
    return text
}

function page(name, declaration,    i, text, parameter, section, prose, file) {
    split("", body)
    section = prose = "DESCRIPTION"
    literal = 0
    for (i = 1; i <= lines; i++) {
        text = comment[i]
        if (section == prose)
            verbatim(section, text ~ /^  /)
        if (text ~ /^@param/) {
            section = "PARAMETERS"
            sub(/^@param +/, "", text)
            parameter = text
            sub(/  ?(in|out): .*/, "", parameter)
            text = substr(text, length(parameter) + 1)
            sub(/^ +/, "", text)
            add(section, ".TP\n.I " escape(parameter) "\n" escape(text))
        } else if (text ~ /^@return/) {
            section = "RETURN VALUE"
            prose = "NOTES"
            sub(/^@return +/, "", text)
            code(text)
        } else if (text == "") {
            section = prose
            if (body[section] != "" && i < lines && comment[i + 1] !~ /^@/)
                add(section, ".PP")
        } else {
            sub(/^ +/, "", text)
            if (section == "RETURN VALUE")
                code(text)
            else
                add(section, escape(text))
        }
    }
    verbatim(section, 0)
    file = folder "/" name ".3"
    print ".\\\" Made from rtmv2.h by ffi/package/man.awk. SPDX-License-Identifier: MIT OR Apache-2.0" > file
    printf ".TH %s 3 \"\" \"rtm %s\" \"Routing Table Manager\"\n", name, version > file
    print ".nh" > file
    printf ".SH NAME\n%s \\- %s\n", name, escape(summary()) > file
    printf ".SH SYNOPSIS\n.nf\n#include <rtmv2.h>\n.PP\n%s\n.fi\n", escape(declaration) > file
    for (i = 1; i <= split("DESCRIPTION,PARAMETERS,RETURN VALUE,NOTES", order, ","); i++)
        if (body[order[i]] != "")
            printf ".SH %s\n%s", order[i], body[order[i]] > file
    print ".SH SEE ALSO\nThe header rtmv2.h: handles, codes, threads, what may be called where." > file
    close(file)
}

/^\/\*$/ { lines = 0; inside = 1; next }
inside && /^ \*\/$/ { inside = 0; next }
inside { sub(/^ \* ?/, ""); comment[++lines] = $0; next }
/^RTM_API/ { declaration = ""; declaring = 1 }
declaring {
    line = $0
    sub(/^RTM_API /, "", line)
    sub(/^        /, "", line)
    declaration = declaration (declaration == "" ? "" : "\n") line
    if (line ~ /;$/) {
        declaring = 0
        name = declaration
        sub(/\(.*/, "", name)
        sub(/.*[ *]/, "", name)
        if (name ~ /^Rtmx/)
            page(name, declaration)
    }
}
