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

    /// Removes what is not used any more, and makes what is missing.
    static func prepare(_ directory: String, keys: [String]) throws(BuildError) {
        let needed = [final] + keys.map(XXH64.directoryName)
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
