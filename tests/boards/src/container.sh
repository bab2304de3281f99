# The first process of a container's PID namespace: all processes of the container end with it.
# It ends when its standard input closes, which happens in any case when the process that holds the container ends.
set -eu
exec 3<&0 </dev/null
{
    read -r _ <&3 || :
    kill -KILL -1
} &
exec 3<&-

# Makes the kernel start executables of a word size (1: 32, 2: 64 bits) for a machine (in hexadecimal) by an emulator.
# F: the emulator is opened now and works in any root. P: programs get their original argument zero.
emulate() {
    name=$1 size=$2 machine=$3 emulator=$4
    magic="\\x7fELF\\x0$size\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x$machine\\x00"
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":$name:M::$magic:$mask:$emulator:PF" >/proc/sys/fs/binfmt_misc/register
}

if [ -n "${EMULATORS-}" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    emulate aarch64 2 b7 "$EMULATORS/qemu-aarch64"
    emulate arm 1 28 "$EMULATORS/qemu-arm"
fi
if [ -n "${ROOT-}" ]; then
    mount -t tmpfs -o mode=755 container "$ROOT"
    cd "$ROOT"
    mkdir .files .tools .android data dev home proc run sys tmp
    for name in $TOP; do
        if [ -L "$SYSTEM/$name" ]; then
            cp -P "$SYSTEM/$name" "$name"
        elif [ -d "$SYSTEM/$name" ]; then
            mkdir "$name"
            mount --rbind "$SYSTEM/$name" "$name"
            mount -o remount,bind,ro "$name"
        fi
    done
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mount -t tmpfs -o mode=1777 tmp tmp
    mount -t tmpfs -o "mode=755,size=$HOME_BYTES" home home
    mount --bind "$FILES" .files
    mount --bind "$TOOLS" .tools
    mount --bind "$ANDROID" .android
    for name in passwd group nsswitch.conf; do
        if [ -f "etc/$name" ]; then mount --bind "$FILES/$name" "etc/$name"; fi
    done
    # The folder in which Android lets a shell run programs.
    mkdir data/local
    ln -s /home data/local/tmp
fi
