/// The entries of the smallest rootfs that is taken, and what a test wants to be different.
package struct TestRootfs: Sendable {
    var shell: TestTar.Entry?
    var passwd: String?
    var group: String?
    var osRelease: String?
    package var more: [TestTar.Entry]
    /// Directories that it does not have.
    package var without: Set<String> = []

    package init(
        shell: TestTar.Entry? = .program("bin/bash", TestRootfs.elf()),
        passwd: String? = "root:x:0:0:root:/root:/bin/bash\nvcap:x:2000:2000::/home/vcap:/bin/bash\n",
        group: String? = "root:x:0:\nvcap:x:2000:\n", osRelease: String? = "PRETTY_NAME=\"Test\"\n",
        more: [TestTar.Entry] = []
    ) {
        self.shell = shell
        self.passwd = passwd
        self.group = group
        self.osRelease = osRelease
        self.more = more
    }

    package var entries: [TestTar.Entry] {
        var entries = ["bin", "etc"].filter { !without.contains($0) }.map { TestTar.Entry.directory($0) }
        if let shell { entries.append(shell) }
        if let passwd { entries.append(.file("etc/passwd", passwd)) }
        if let group { entries.append(.file("etc/group", group)) }
        if let osRelease { entries.append(.file("etc/os-release", osRelease)) }
        return entries + more
    }

    package var tar: TestTar { TestTar(entries) }

    /// The head of an ELF program of 64 bits, little-endian (System V ABI).
    /// - Parameters:
    ///   - machine: 62 amd64, 183 arm64.
    ///   - loader: nil: it is static.
    package static func elf(machine: UInt16 = 62, loader: String? = nil) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 64 + 56)
        func put(_ value: UInt64, _ count: Int, at offset: Int) {
            for index in 0..<count { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
        }
        bytes.replaceSubrange(0..<7, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
        put(2, 2, at: 16)
        put(UInt64(machine), 2, at: 18)
        put(64, 8, at: 32)
        put(56, 2, at: 54)
        put(1, 2, at: 56)
        // PT_INTERP, or PT_LOAD.
        put(loader == nil ? 1 : 3, 4, at: 64)
        if let loader {
            put(120, 8, at: 64 + 8)
            put(UInt64(loader.utf8.count + 1), 8, at: 64 + 32)
            bytes += Array(loader.utf8) + [0]
        }
        return bytes
    }
}
