import Layers
package import OCI
public import ObjectStore
public import Records
public import Rootfs
import Synchronization

/// All recipes, in memory as in the store: there is one for each combination of rootfs version, architecture, family,
/// lifecycle layer and format that an image was ever made with, so they are few.
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
        /// Those that the store could not take so far.
        var unwritten: Set<String> = []
        /// In the order in which they came, each with a number that no other ever gets.
        var byBase: [Base: [(number: Int, recipe: Recipe)]] = [:]
        /// The number of the next recipe.
        var next: [Base: Int] = [:]
        /// Every layer that recipes name.
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

    /// Reads the recipes that are there. Images of those that can't be read are gone, until they can be.
    /// - Parameter unreadable: told of these.
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

    /// The recipes of a stack and an architecture from a number on.
    func numbered(_ base: Base, from number: Int) -> [(number: Int, recipe: Recipe)] {
        state.withLock { state in
            let all = state.byBase[base] ?? []
            return number == 0 ? all : Array(all.drop { $0.number < number })
        }
    }

    /// Every layer that recipes name.
    package var digests: [Digest] { state.withLock { $0.layers.values.flatMap(\.keys) } }

    /// The number that the next recipe of a stack and an architecture gets.
    func next(_ base: Base) -> Int { state.withLock { $0.next[base] ?? 0 } }

    /// The layer that some recipe of a stack and an architecture names by a digest.
    func layer(_ stack: StackName, _ architecture: Architecture, _ digest: Digest) -> LayerReference? {
        state.withLock { $0.layers[Base(stack: stack, architecture: architecture)]?[digest] }
    }

    /// Writes a recipe down, durably, before anybody sees an image made with it.
    ///
    /// A store that takes nothing at the moment must not stop nodes from pulling what is there: the recipe is then kept
    /// in memory, and the next caller tries again. Only if the server ends before that, and another version of it comes
    /// back, are the images gone that were made with it meanwhile.
    /// - Returns: whether it is written.
    func keep(_ recipe: Recipe) async throws(ImageError) -> Bool {
        if state.withLock({ $0.byID[recipe.id] != nil && !$0.unwritten.contains(recipe.id) }) { return true }
        do throws(ImageError) {
            // A recipe's key is the digest of its bytes: another replica wrote the same bytes, and any others are damaged.
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

    /// Forgets the recipes of a rootfs version, durably.
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
