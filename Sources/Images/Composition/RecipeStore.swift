import Layers
package import OCI
public import ObjectStore
public import Records
public import Rootfs
import Synchronization

/// All recipes, in memory and in the store. There is one for each combination of rootfs version, architecture, family,
/// lifecycle layer and format that images were made with, so they are few.
public final class RecipeStore: Sendable {
    struct Base: Hashable {
        let stack: StackName
        let architecture: Architecture

        init(stack: StackName, architecture: Architecture) {
            self.stack = stack
            self.architecture = architecture
        }

        init(of recipe: Recipe) { self.init(stack: recipe.stack, architecture: recipe.architecture) }
    }

    struct State {
        var byID: [String: Recipe] = [:]
        /// The ids of recipes that could not be written to the store yet.
        var unwritten: Set<String> = []
        /// In the order in which they were added, each with a number that is never used again.
        var byBase: [Base: [(number: Int, recipe: Recipe)]] = [:]
        /// The number that the next recipe gets.
        var next: [Base: Int] = [:]
        /// Every layer that a recipe names, by digest.
        var layers: [Base: [Digest: LayerReference]] = [:]

        mutating func remember(layersOf recipe: Recipe) {
            let base = Base(of: recipe)
            for layer in recipe.rootfs + recipe.base + [recipe.lifecycle] + recipe.delta {
                layers[base, default: [:]][layer.digest] = layer
            }
        }
    }

    private let records: RecordStore<ImageError>
    let state = Mutex(State())

    package static let folder = RecordFolder(Recipe.folder, [RecordKind("recipe", Recipe.self)])

    /// Reads all recipes from the store. While a recipe can't be read, its images are not found.
    /// - Parameter unreadable: collects the recipes that can't be read.
    public init(
        store: any ObjectStore, unreadable: UnreadableRecords = UnreadableRecords()
    ) async throws(ImageError) {
        records = RecordStore(store, unreadable: unreadable)
        try await records.forEach(Recipe.folder) { (key) throws(ImageError) in
            if let recipe = try await records.readable(key, as: Recipe.self)?.value { add(recipe) }
        }
    }

    func recipe(_ id: String) -> Recipe? { state.withLock { $0.byID[id] } }

    /// The recipes of a stack and an architecture.
    package func recipes(_ stack: StackName, _ architecture: Architecture) -> [Recipe] {
        numbered(Base(stack: stack, architecture: architecture), from: 0).map(\.recipe)
    }

    /// The recipes of a stack and an architecture whose number is at least `number`.
    func numbered(_ base: Base, from number: Int) -> [(number: Int, recipe: Recipe)] {
        state.withLock { state in
            let all = state.byBase[base] ?? []
            return number == 0 ? all : Array(all.drop { $0.number < number })
        }
    }

    /// The digests of all layers that recipes name.
    package var digests: [Digest] { state.withLock { $0.layers.values.flatMap(\.keys) } }

    /// The number that the next recipe of a stack and an architecture gets.
    func next(_ base: Base) -> Int { state.withLock { $0.next[base] ?? 0 } }

    /// The layer with a digest, if a recipe of a stack and an architecture names it.
    func layer(_ stack: StackName, _ architecture: Architecture, _ digest: Digest) -> LayerReference? {
        state.withLock { $0.layers[Base(stack: stack, architecture: architecture)]?[digest] }
    }

    /// Writes a recipe, durably, before an image made with it is served.
    ///
    /// While the store can't be written, nodes must still be able to pull: the recipe is then kept in memory only, and
    /// the next caller tries again. The images made with it meanwhile are lost only if the server ends before a write
    /// succeeds and a different version of the server starts.
    /// - Returns: whether the recipe is in the store.
    func keep(_ recipe: Recipe) async throws(ImageError) -> Bool {
        if state.withLock({ $0.byID[recipe.id] != nil && !$0.unwritten.contains(recipe.id) }) { return true }
        do throws(ImageError) {
            // A recipe's key is the digest of its bytes, so a readable record there is the same recipe, and any other
            // is damaged.
            try await records.update(try Recipe.key(recipe.id), as: Recipe.self, replacingDamaged: true) {
                $0 == nil ? .write(recipe) : .keep
            }
            try await records.sync()
        } catch {
            switch error {
            case .store(.full), .store(.permission), .store(.io), .store(.unknown):
                add(recipe, isWritten: false)
                return false
            default: throw error
            }
        }
        add(recipe)
        return true
    }

    /// Removes the recipes of a rootfs version, durably.
    func remove(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        let gone = state.withLock { $0.byID.values.filter { $0.stack == stack && $0.version == version } }
        for recipe in gone { try await records.remove(try Recipe.key(recipe.id)) }
        try await records.sync()
        let ids = Set(gone.map(\.id))
        state.withLock { state in
            state.unwritten.subtract(ids)
            state.byID = state.byID.filter { !ids.contains($0.key) }
            state.byBase = state.byBase.mapValues { $0.filter { !ids.contains($0.recipe.id) } }
            state.layers = [:]
            for recipe in state.byID.values { state.remember(layersOf: recipe) }
        }
    }

    private func add(_ recipe: Recipe, isWritten: Bool = true) {
        state.withLock { state in
            if isWritten { state.unwritten.remove(recipe.id) } else { state.unwritten.insert(recipe.id) }
            guard state.byID.updateValue(recipe, forKey: recipe.id) == nil else { return }
            let base = Base(of: recipe)
            let number = state.next[base] ?? 0
            state.byBase[base, default: []].append((number, recipe))
            state.next[base] = number + 1
            state.remember(layersOf: recipe)
        }
    }
}
