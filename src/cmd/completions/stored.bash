
# Completes the names of stored files where they stand, and everything else by the function above. A name
# with a colon in it is completed up to the colon: bash begins a new word there.
_palk_stored() {
    local i verb="" value replies reply
    local -a options=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
            client) [[ -n $verb ]] || verb=client ;;
            --server | --user | --profile)
                options+=("${COMP_WORDS[i]}")
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
                ((i + 1 < COMP_CWORD)) || return 1
                value=${COMP_WORDS[++i]}
                # HOST:PORT is three words for bash.
                while ((i + 1 < COMP_CWORD)) && [[ ${COMP_WORDS[i + 1]} == :* || $value == *: ]]; do
                    value+=${COMP_WORDS[++i]}
                done
                options+=("$value")
                ;;
            -*) ;;
            *) [[ $verb == client ]] && verb=${COMP_WORDS[i]} ;;
        esac
    done
    [[ $2 != -* ]] || return 1
    case "$verb,$3" in
        @OPTIONS@) ;;
        @WITH_VALUE@) return 1 ;;
        @VERBS@) ;;
        *) return 1 ;;
    esac
    # No stored name has a backslash in it; a quote is one that the user has begun.
    value=${2//\\/}
    replies=$("$1" client "${options[@]}" complete-stored -- "${value#[\"\']}" 2>/dev/null)
    COMPREPLY=()
    while IFS= read -r reply; do
        [[ -n $reply ]] && COMPREPLY+=("$reply")
    done <<<"$replies"
    if [[ ${BASH_VERSINFO[0]} -ge 4 ]]; then
        # Quotes what has to be; no local file is offered in place of a stored one.
        compopt -o filenames +o default +o bashdefault
        [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
    fi
    return 0
}

_palk_or_stored() {
    _palk_stored "$@" || _palk "$@"
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _palk_or_stored -o nosort -o bashdefault -o default palk
else
    complete -F _palk_or_stored -o bashdefault -o default palk
fi
