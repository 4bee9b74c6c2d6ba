// Runs the code on standard input, in whichever way lets it wait at its top level: as the body of an asynchronous function
// beside CommonJS's names, or else, for only that has import and export declarations, as a module, for which `require`
// and its like are global. Node's own parser decides.
//
// The first argument is the program whose transpiler makes JavaScript of TypeScript, empty for JavaScript.
(() => {
    const fs = require("node:fs");
    const path = require("node:path");
    const vm = require("node:vm");
    const { createRequire, SourceMap } = require("node:module");
    const { pathToFileURL } = require("node:url");

    const [tool] = process.argv.splice(2, 1);
    const name = tool ? "[eval].ts" : "[eval]";
    const file = path.join(process.cwd(), name);
    const code = fs.readFileSync(0, "utf8").replace(/^\ufeff?#!.*/, "");
    const scope = { require: createRequire(file), module: { exports: {} }, __filename: file, __dirname: process.cwd() };
    scope.exports = scope.module.exports;
    const importer = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
    const load = importer
        ? vm.compileFunction("return import(specifier)", ["specifier"], { importModuleDynamically: importer })
        : (specifier) => import(specifier);
    let map;

    const transpile = (text) => {
        if (!tool) {
            return text;
        }
        const near = createRequire(fs.realpathSync(tool));
        let transpiled;
        try {
            const target = `node${process.versions.node}`;
            transpiled = near("esbuild").transformSync(text, { loader: "ts", target, sourcemap: true, sourcefile: name });
        } catch (error) {
            if (error.errors?.[0]?.location) {
                const { text: message, location } = error.errors[0];
                const { line, column, lineText } = location;
                const complaint = new SyntaxError(`${message}\n    ${lineText}`);
                complaint.stack = `${complaint}\n    at ${name}:${line}:${column + 1}`;
                throw complaint;
            }
            if (error.code !== "MODULE_NOT_FOUND") {
                throw error;
            }
            const ts = near("typescript");
            const compilerOptions = { module: "esnext", target: "es2022", sourceMap: true };
            const { outputText, sourceMapText, diagnostics } = ts.transpileModule(text, {
                compilerOptions,
                reportDiagnostics: true,
            });
            if (diagnostics.length > 0) {
                throw new SyntaxError(ts.flattenDiagnosticMessageText(diagnostics[0].messageText, "\n"));
            }
            transpiled = { code: outputText, map: sourceMapText };
        }
        map = JSON.parse(transpiled.map);
        return transpiled.code.replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n");
    };

    const compileFunction = () => {
        const begin = "__run(async () => {";
        const text = transpile(`${begin}${code}\n})`);
        const names = Object.keys(scope);
        const options = { filename: name, columnOffset: tool ? 0 : -begin.length, importModuleDynamically: importer };
        const compiled = vm.compileFunction(text, ["__run", ...names], options);
        return () => {
            let ended;
            const run = (body) => {
                ended = body();
            };
            compiled.call(scope.module.exports, run, ...Object.values(scope));
            return ended;
        };
    };

    const compileModule = () => {
        const module = new vm.SourceTextModule(transpile(code), {
            identifier: name,
            importModuleDynamically: load,
            initializeImportMeta: (meta) => {
                meta.url = pathToFileURL(file).href;
                meta.filename = file;
                meta.dirname = process.cwd();
                meta.resolve = (specifier) => {
                    const found = scope.require.resolve(specifier);
                    return path.isAbsolute(found) ? pathToFileURL(found).href : found;
                };
            },
        });
        return async () => {
            Object.assign(globalThis, scope);
            await module.link(async (specifier) => {
                const loaded = await load(specifier);
                const names = Object.keys(loaded);
                return new vm.SyntheticModule(names, function () {
                    names.forEach((name) => this.setExport(name, loaded[name]));
                });
            });
            await module.evaluate();
        };
    };

    const compile = () => {
        try {
            return compileFunction();
        } catch {
            // If it is no program at all, the error of this one says so.
            return compileModule();
        }
    };

    // Lines of TypeScript, not those of what was made of it.
    const locate = (error) => {
        if (map && typeof error?.stack === "string") {
            const lines = new SourceMap(map);
            error.stack = error.stack.replace(/\[eval\]\.ts:(\d+):(\d+)/g, (place, line, column) => {
                const { originalLine, originalColumn } = lines.findEntry(line - 1, column - 1);
                return originalLine === undefined ? place : `${name}:${originalLine + 1}:${originalColumn + 1}`;
            });
        }
        throw error;
    };

    const warn = process.emitWarning;
    process.emitWarning = (warning, kind, ...rest) => {
        if ((kind?.type ?? kind) !== "ExperimentalWarning") {
            warn.call(process, warning, kind, ...rest);
        }
    };
    let settled = false;
    process.on("beforeExit", () => {
        if (!settled) {
            settled = true;
            process.exitCode ??= 13;
            console.error("Warning: Detected unsettled top-level await");
        }
    });
    Promise.resolve()
        .then(() => compile()())
        .finally(() => (settled = true))
        .catch(locate);
})();
