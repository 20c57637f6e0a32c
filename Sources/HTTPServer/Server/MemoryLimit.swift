import CLinux
import Glibc

/// How much memory this process may have, how much of it requests get, and how unused memory goes back to the system.
public enum MemoryLimit {
    /// How often the server checks whether requests gave back much memory.
    static let trimInterval: Duration = .seconds(2)
    /// How much they must have given back for the memory to be returned to the system, in bytes.
    static let worthTrimming = 8 << 20

    /// What requests may hold unless a setting says it, in bytes: half of what the process may have, and 64 MiB at
    /// least. The rest is for the program, the store's cache, the conversions' own buffers, and the system's buffers
    /// for sockets and files.
    public static var standard: Int { max(64 << 20, available / 2) }

    /// The memory that the process may have, in bytes: the control group's limit, or else all of the machine's.
    private static var available: Int {
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        let machine = pages > 0 ? pages * sysconf(Int32(_SC_PAGESIZE)) : 1 << 30
        return min(machine, limitOfGroups(at: "/proc/self/cgroup", mount: "/sys/fs/cgroup") ?? machine)
    }

    /// The least limit, in bytes, of the control groups, version 2 and 1, that the process is in.
    /// - Returns: nil if there is none.
    static func limitOfGroups(at path: String, mount: String) -> Int? {
        var limits: [Int] = []
        for line in (text(path) ?? "").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let isSecond = parts[1].isEmpty
            guard isSecond || parts[1].split(separator: ",").contains("memory") else { continue }
            let root = isSecond ? mount : mount + "/memory"
            let file = isSecond ? "memory.max" : "memory.limit_in_bytes"
            // A container may see its own group as the root, whatever its path says, so all groups above are tried.
            var folder = parts[2][...]
            while true {
                if let limit = text(root + folder + "/" + file).flatMap({ Int($0.filter { $0 != "\n" }) }) {
                    limits.append(limit)
                }
                guard let slash = folder.lastIndex(of: "/"), !folder.isEmpty else { break }
                folder = folder[..<slash]
            }
        }
        // Version 1 reports a number larger than any memory where there is no limit.
        return limits.filter { $0 < 1 << 60 }.min()
    }

    private static func text(_ path: String) -> String? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Makes the allocator return large blocks to the system. By default it raises its thresholds as soon as the first
    /// one is freed, and then keeps them.
    public static func prepareAllocator() {
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
        mallopt(M_TRIM_THRESHOLD, 4 << 20)
    }

    /// Returns to the system what the allocator holds unused.
    static func trim() { malloc_trim(0) }
}
