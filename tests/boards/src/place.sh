# The first process of a place's PID namespace: with it, everything in the place ends.
# It ends when its standard input closes, which it does when whoever holds the place ends, however that comes about.
set -eu
exec 3<&0 </dev/null
{
    read -r _ <&3 || :
    kill -KILL -1
} &
exec 3<&-

if [ -n "${EMULATOR-}" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    # The magic of an aarch64 executable. F: the emulator is opened now and found from any root. P: programs learn the
    # name that they were called by.
    printf '%s' ':aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$EMULATOR:PF" \
        >/proc/sys/fs/binfmt_misc/register
fi
if [ -n "${ROOT-}" ]; then
    mount -t tmpfs -o mode=755 place "$ROOT"
    cd "$ROOT"
    mkdir .files .tools .android data dev home proc run sys tmp
    for name in bin etc lib lib32 lib64 libx32 opt sbin usr; do
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
    # Where Android lets a shell put programs.
    mkdir data/local
    ln -s /home data/local/tmp
fi
