# The names of stored files.
_palk_stored() {
    local -a line options names
    local i
    line=("${(@Q)${(z)LBUFFER}}")
    for ((i = 1; i < $#line; i++)); do
        case $line[i] in
            --server | --user | --profile) options+=("$line[i]" "$line[i + 1]") ;;
            --server=* | --user=* | --profile=*) options+=("$line[i]") ;;
        esac
    done
    names=("${(@f)$(palk client $options complete-stored -- "${(Q)PREFIX}" 2>/dev/null)}")
    names=(${names:#})
    compadd -S '' -- ${(M)names:#*/}
    compadd -- ${names:#*/}
}

