import CLinux
import Glibc

/// A buildpack on this machine, and what it has.
struct Buildpack: Hashable {
    enum Script: String {
        case detect
        case supply
        case finalize
        case compile
        case release
    }

    let key: String
    /// The name for people, from the list.
    let name: String
    let path: String

    /// Looks for the directory that has `bin`: the buildpack's own, or the only one in it.
    /// - Throws: `.other` if neither has one.
    init(_ listed: BuildpackList.Buildpack, in directory: String) throws(BuildError) {
        key = listed.key
        name = listed.name
        let top = directory + "/" + listed.directory
        if FileTree.exists(top + "/bin") {
            path = top
            return
        }
        let opened = open(top, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard opened >= 0 else { throw .system("read the buildpack \(listed.name) in", top, errno) }
        defer { close(opened) }
        if let names = try? FileTree.names(in: opened, maximum: 2), names.count == 1, let only = names.first {
            let nested = top + "/" + String(decoding: only, as: UTF8.self)
            if FileTree.exists(nested + "/bin") {
                path = nested
                return
            }
        }
        throw BuildError(.other, "the buildpack \(listed.name) is malformed: it has no directory bin")
    }

    func program(_ script: Script) -> String { path + "/bin/" + script.rawValue }

    func has(_ script: Script) -> Bool { FileTree.exists(program(script)) }

    /// Whether everybody may execute the program.
    func isExecutable(_ script: Script) -> Bool {
        FileTree.status(program(script)).map { $0.st_mode & 0o111 == 0o111 } ?? false
    }
}

/// The directories in which buildpacks keep what may save time in the next build: `final` for the last one, and for
/// each of the others one that is named by the buildpack's key.
package enum BuildCache {
    static let final = "final"

    /// The name of the directory of a buildpack: the XXH64 of its key, 16 hex digits.
    package static func name(key: String) -> String {
        let hex = String(xxHash64(Array(key.utf8)), radix: 16)
        return String(repeating: "0", count: 16 - hex.count) + hex
    }

    /// Removes what is not used any more, and makes what is missing.
    static func prepare(_ directory: String, keys: [String]) throws(BuildError) {
        let needed = [final] + keys.map(name)
        try FileTree.makeDirectory(directory)
        let opened = open(directory, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard opened >= 0 else { throw .system("read", directory, errno) }
        defer { close(opened) }
        for name in try FileTree.names(in: opened, maximum: .max) {
            let name = String(decoding: name, as: UTF8.self)
            if !needed.contains(name) { try FileTree.remove(directory + "/" + name) }
        }
        for name in needed { try FileTree.makeDirectory(directory + "/" + name) }
    }

    /// XXH64 with seed 0 (xxHash fast digest algorithm, version 0.1.1, section "XXH64 Algorithm Description").
    static func xxHash64(_ bytes: [UInt8]) -> UInt64 {
        let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
        let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
        let prime3: UInt64 = 0x1656_67B1_9E37_79F9
        let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
        let prime5: UInt64 = 0x27D4_EB2F_1656_67C5
        func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }
        func number(_ at: Int, _ length: Int) -> UInt64 {
            (0..<length).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) }
        }
        func round(_ lane: UInt64, _ input: UInt64) -> UInt64 { rotate(lane &+ input &* prime2, 31) &* prime1 }

        var position = 0
        var hash = prime5
        if bytes.count >= 32 {
            var lanes = [prime1 &+ prime2, prime2, 0, 0 &- prime1]
            while bytes.count - position >= 32 {
                for index in lanes.indices { lanes[index] = round(lanes[index], number(position + 8 * index, 8)) }
                position += 32
            }
            hash = rotate(lanes[0], 1) &+ rotate(lanes[1], 7) &+ rotate(lanes[2], 12) &+ rotate(lanes[3], 18)
            for lane in lanes { hash = (hash ^ round(0, lane)) &* prime1 &+ prime4 }
        }
        hash = hash &+ UInt64(bytes.count)
        while bytes.count - position >= 8 {
            hash = rotate(hash ^ round(0, number(position, 8)), 27) &* prime1 &+ prime4
            position += 8
        }
        if bytes.count - position >= 4 {
            hash = rotate(hash ^ number(position, 4) &* prime1, 23) &* prime2 &+ prime3
            position += 4
        }
        while position < bytes.count {
            hash = rotate(hash ^ UInt64(bytes[position]) &* prime5, 11) &* prime1
            position += 1
        }
        hash = (hash ^ hash >> 33) &* prime2
        hash = (hash ^ hash >> 29) &* prime3
        return hash ^ hash >> 32
    }
}

extension String {
    /// The text without the user and password of a URL in it (RFC 3986, section 3.2.1).
    var withoutUserInfo: String {
        guard let start = firstRange(of: "://")?.upperBound else { return self }
        let authority = self[start...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard let at = authority.lastIndex(of: "@") else { return self }
        return String(self[..<start] + self[index(after: at)...])
    }

    private func firstRange(of text: String) -> Range<String.Index>? {
        var position = startIndex
        while position < endIndex {
            if self[position...].hasPrefix(text) { return position..<index(position, offsetBy: text.count) }
            position = index(after: position)
        }
        return nil
    }
}
