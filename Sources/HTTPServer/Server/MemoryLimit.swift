import CLinux
import Glibc

/// How much memory this process may have, how much of that its requests get, and how it goes back to the system.
public enum MemoryLimit {
    /// How often it is looked whether much was given back.
    static let trimInterval: Duration = .seconds(2)
    /// In bytes.
    static let worthTrimming = 8 << 20

    /// What requests may hold if nobody says it, in bytes: half of what the process may have. The rest is for the
    /// program, what the store remembers, the conversions' own buffers, and the sockets' and files' in the system.
    public static var standard: Int { max(64 << 20, available / 2) }

    /// The control group's limit, or else the machine's memory.
    private static var available: Int {
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        let machine = pages > 0 ? pages * sysconf(Int32(_SC_PAGESIZE)) : 1 << 30
        return min(machine, limitOfGroups(at: "/proc/self/cgroup", mount: "/sys/fs/cgroup") ?? machine)
    }

    /// The least limit of the control groups, version 2 and 1, that the process is in.
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
            // A container may see its own group as the root, whatever its path says.
            var folder = parts[2][...]
            while true {
                if let limit = text(root + folder + "/" + file).flatMap({ Int($0.filter { $0 != "\n" }) }) {
                    limits.append(limit)
                }
                guard let slash = folder.lastIndex(of: "/"), !folder.isEmpty else { break }
                folder = folder[..<slash]
            }
        }
        // Version 1 says a number larger than any memory where there is no limit.
        return limits.filter { $0 < 1 << 60 }.min()
    }

    private static func text(_ path: String) -> String? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Keeps the allocator from holding on to large pieces, as it would from the first one that it was given back.
    public static func prepareAllocator() {
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
        mallopt(M_TRIM_THRESHOLD, 4 << 20)
    }

    /// Gives the system what the allocator holds and nobody uses.
    static func trim() { malloc_trim(0) }
}
