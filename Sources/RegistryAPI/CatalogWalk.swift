import Identity
import Images
import OCI
import Registry
import Rootfs

/// Goes through the repositories in the order in which the catalog lists them: by their bytes, with `/` before all other
/// characters. Here names are texts in which `!` stands for `/`, so that their bytes are in that order.
///
/// Three lists are merged: repositories that were pushed to, apps with droplets, and stacks. They are read only where the
/// user may pull something, and nothing is read of a repository but what tells whether there is something to pull.
struct CatalogWalk {
    /// How many names are listed at a time.
    static let chunk = 1000
    /// How many listings one page costs at most, and how many repositories are looked at besides those that it shows.
    /// A page that ends there is short, and its link leads on.
    private static let maximumListings = 32
    private static let maximumMisses = 1000

    let images: DerivedImages
    let registry: Registry
    let user: Principal

    /// - Parameters:
    ///   - last: only repositories after this text.
    ///   - limit: at most so many.
    func page(after last: String?, limit: Int) async throws -> Page<String> {
        guard limit > 0 else { return Page(elements: [], next: nil) }
        let derived = DerivedCatalog(images)
        let last = last.map(RepositoryKeys.component)
        var names: [String] = []
        var (listings, misses) = (0, 0)
        let places = user.places(.pull).map { (prefix: RepositoryKeys.component($0.prefix), isWhole: $0.isWhole) }
        for (prefix, isWhole) in places.sorted(by: { $0.prefix.isBefore($1.prefix) }) {
            var lists =
                isWhole
                ? [NameList(prefix, after: last) { after in [prefix].filter { after?.isBefore($0) ?? true } }]
                : [
                    NameList(prefix, after: last) { try await registry.catalog(after: $0, limit: Self.chunk) },
                    NameList(prefix, below: "cloudfoundry!", after: last) {
                        try await derived.apps(after: $0, limit: Self.chunk)
                    },
                    NameList(prefix, below: "cistern!", after: last) { after in
                        derived.stacks.map(\.text).filter { after?.isBefore($0) ?? true }
                    },
                ]
            while let text = try await lists.next(&listings) {
                if Task.isCancelled { throw RegistryError.cancelled }
                if let name = RepositoryKeys.repository(of: text), user.holds(.pull, on: name.text) {
                    if try await canBePulled(name, derived) {
                        // One more than asked for shows that there is a next page.
                        guard names.count < limit else { return Page(elements: names, next: names.last) }
                        names.append(name.text)
                    } else {
                        misses += 1
                    }
                }
                guard listings <= Self.maximumListings, misses <= Self.maximumMisses else {
                    return Page(elements: names, next: RepositoryKeys.text(of: text))
                }
            }
        }
        return Page(elements: names, next: nil)
    }

    private func canBePulled(_ name: RepositoryName, _ derived: DerivedCatalog) async throws -> Bool {
        if try await derived.hasImage(name) { return true }
        return try await registry.hasManifest(name)
    }
}

/// The names of one list that begin with a text, in order, read chunk by chunk.
private struct NameList {
    private let prefix: String
    private let folder: String
    private let list: (String?) async throws -> [String]
    private var names: ArraySlice<String> = []
    private var after: String?
    private var isOver: Bool

    /// - Parameters:
    ///   - folder: what all names of the list begin with; `list` gives and takes them without it.
    ///   - list: names after a text, in order; fewer than `CatalogWalk.chunk` are the last ones.
    init(
        _ prefix: String, below folder: String = "", after last: String?,
        _ list: @escaping (String?) async throws -> [String]
    ) {
        self.prefix = prefix
        self.folder = folder
        self.list = list
        isOver = !prefix.utf8.starts(with: folder.utf8) && !folder.utf8.starts(with: prefix.utf8)
        // Nothing that begins with the prefix comes before this, and all else that does is not wanted.
        var start: String?
        if let end = prefix.unicodeScalars.last, let before = Unicode.Scalar(end.value - 1) {
            start = String(prefix.unicodeScalars.dropLast()) + String(before) + "\u{7f}"
        }
        after = if let last, start?.isBefore(last) ?? true { last } else { start }
    }

    /// The next name, which stays; nil at the end.
    mutating func first(_ listings: inout Int) async throws -> String? {
        if let name = names.first { return name }
        guard !isOver else { return nil }
        var inner: String?
        if let after, after.utf8.starts(with: folder.utf8) {
            inner = String(after.dropFirst(folder.count))
        } else if let after, folder.isBefore(after) {
            isOver = true
            return nil
        }
        listings += 1
        let chunk = try await list(inner).map { folder + $0 }
        names = chunk.prefix { $0.utf8.starts(with: prefix.utf8) }
        isOver = chunk.count < CatalogWalk.chunk || names.count < chunk.count
        after = chunk.last
        return names.first
    }

    mutating func remove(_ name: String) {
        if names.first == name { names.removeFirst() }
    }
}

extension [NameList] {
    /// The next name of all lists, each once.
    fileprivate mutating func next(_ listings: inout Int) async throws -> String? {
        var smallest: String?
        for index in indices {
            guard let name = try await self[index].first(&listings) else { continue }
            if smallest.map(name.isBefore) ?? true { smallest = name }
        }
        if let smallest { for index in indices { self[index].remove(smallest) } }
        return smallest
    }
}

extension String {
    fileprivate func isBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}
