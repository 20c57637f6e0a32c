import Foundation

extension Fixtures {
    /// Makes what an arm64 machine would have, as far as its programs' headers tell: the tiny rootfs, and a `launch`. Nothing
    /// of it can run here.
    /// - Returns: the rootfs' path, and the directory for `--lifecycle arm64=DIR`.
    public static func arm64(in directory: String) async throws -> (rootfs: String, lifecycle: String) {
        let script = """
            set -eu
            mkdir "$1/tree" "$1/lifecycle"; tar -xzpf "$0" --numeric-owner -C "$1/tree"
            printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\267\\0' > "$1/lifecycle/launch"
            # The machine in an ELF header: 183 is AArch64.
            find "$1/tree" -type f | while read -r file; do
                case $(head -c 4 "$file" | od -An -tx1 | tr -d ' ') in
                7f454c46) printf '\\267\\0' | dd of="$file" bs=1 seek=18 conv=notrunc status=none ;;
                esac
            done
            tar -czpf "$1/rootfs.tar.gz" --numeric-owner --sort=name -C "$1/tree" .
            """
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try await runSuccessfully("sh", ["-c", script, try await tinyRootfs(), directory])
        return (directory + "/rootfs.tar.gz", directory + "/lifecycle")
    }
}
