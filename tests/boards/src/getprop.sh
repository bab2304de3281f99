# Android's getprop over a file: all properties, or the value of one, or the default for a missing one.
if [ $# -eq 0 ]; then
    cat /.files/properties
    exit
fi
while IFS= read -r line; do
    case "$line" in
    "[$1]: ["*"]")
        line=${line#*: \[}
        echo "${line%]}"
        exit
        ;;
    esac
done </.files/properties
echo "${2-}"
