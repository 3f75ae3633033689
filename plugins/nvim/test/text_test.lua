--- What needs no daemon: options, links, paths, completion.
local t = require("support")
local link = require("imgd.link")
local options = require("imgd.options")
local paths = require("imgd.paths")
local M = {}

local function flags(text, preset)
  local asked, problem = options.parse(text, preset, "/notes")
  assert(asked, problem)
  return { asked.flags, asked.prompt }
end

function M.options_stand_before_the_prompt()
  t.equal(flags("a red apple"), { {}, "a red apple" })
  t.equal(flags("steps=4  size=64x64 a = b"), { { "--size=64x64", "--num-inference-steps=4" }, "a = b" })
  t.equal(flags("steps=4 -- seed=3 -- x "), { { "--num-inference-steps=4" }, "seed=3 -- x" })
  t.equal(flags([[negative="blurry, 'text'" a]]), { { "--negative-prompt=blurry, 'text'" }, "a" })
  t.equal(flags("lora=a:1 lora=b only-masked=yes"), { { "--lora=a:1", "--lora=b", "--only-masked" }, "" })
  t.equal(flags("init=../a.png x"), { { "--init-image=/a.png" }, "x" })
end

function M.own_options_hold_unless_the_command_says_otherwise()
  t.equal(flags("steps=4 x", { steps = 9, seed = 2, private = true }), {
    { "--private", "--seed=2", "--num-inference-steps=4" },
    "x",
  })
end

function M.a_wrong_option_is_named()
  local function problem(text)
    local what = select(2, options.parse(text, {}, "/"))
    return what.message and what.message .. "\n" .. what.hint or what
  end
  t.matches(problem("stpes=4 x"), "^option `stpes` is not known\ndid you mean `steps`%? A prompt that begins so needs `%-%-`")
  t.matches(problem("frobnicate=4 x"), "options are clip_skip, control")
  t.matches(problem("steps= x"), "^option `steps` needs a value")
  t.matches(problem('negative="a b'), "^option `negative` has an open quotation mark")
  t.matches(problem("output=/etc/passwd x"), "^option `output` is not known")
end

function M.links_are_as_their_filetype_writes_them()
  local function written(filetype, path, prompt)
    return table.concat(link.lines(filetype, path, prompt), "\n")
  end
  t.equal(written("markdown", "a b(1).png", "x [y]\n<z>"), "![x \\[y\\] \\<z>](a%20b%281%29.png)")
  t.equal(written("html", 'ü"&.png', '"x" <&>'), '<img src="ü%22%26.png" alt="&quot;x&quot; &lt;&amp;&gt;">')
  t.equal(written("asciidoc", "a b.png", 'a, "b" ]'), 'image::a b.png["a, \\"b\\" &#93;"]')
  t.equal(written("tex", "a b.png", "x"), "\\includegraphics[width=\\linewidth]{a b.png}")
  t.equal(written("org", "a.png", "x"), "[[file:a.png]]")
  t.equal(written("rst", "a.png", "x"), ".. image:: a.png\n   :alt: x")
  t.equal(written("typst", "a.png", 'x "y"'), '#image("a.png", alt: "x \\"y\\"")')
  local cut = written("markdown", "a.png", ("ü"):rep(200))
  t.equal(cut, "![" .. ("ü"):rep(150) .. "…](a.png)")
end

function M.a_written_link_is_found_again()
  local path = "a b/(c) ü&%20.png"
  for _, filetype in ipairs({ "markdown", "html", "asciidoc", "tex", "org", "rst", "typst" }) do
    local line = link.lines(filetype, path, "see [x](y.png) \\ here")[1]
    t.equal({ filetype, link.at("  " .. line, 5) }, { filetype, path })
  end
  local two = "![a](one.png) and ![b](<two.png> 'title')"
  t.equal({ link.at(two, 3), link.at(two, 25), link.at(two, 15) }, { "one.png", "two.png" })
end

function M.paths_lead_from_the_file_to_the_picture()
  t.equal(paths.relative("/a/b/c.png", "/a/b"), "c.png")
  t.equal(paths.relative("/a/c/d.png", "/a/b/e"), "../../c/d.png")
  t.equal(paths.relative("/x/c.png", "/a/b"), "/x/c.png")
  t.equal(paths.relative("/c.png", "/"), "c.png")
  t.equal(paths.absolute("../x/./y", "/a/b"), "/a/x/y")
end

function M.unknown_settings_are_refused_by_name()
  local ok, why = pcall(require("imgd").setup, { foldr = "x" })
  t.equal(ok, false)
  t.matches(why, "^imgd.setup: `foldr` is not known; known are echo, folder")
  t.matches(select(2, pcall(require("imgd").setup, { echo = 1 })), "`echo` must be a boolean, not a number")
end

function M.options_and_their_values_are_completed()
  t.equal(vim.fn.getcompletion("Imgctl st", "cmdline"), { "steps=", "strength=", "style=" })
  t.equal(vim.fn.getcompletion("Imgctl steps=4 model=s", "cmdline"), { "model=starter" })
  t.equal(vim.fn.getcompletion("Imgctl sampler=dpmpp_2m", "cmdline"), { "sampler=dpmpp_2m", "sampler=dpmpp_2m_sde" })
  t.equal(vim.fn.getcompletion("'<,'>Imgctl schedule=k", "cmdline"), { "schedule=karras" })
  t.equal(vim.fn.getcompletion("Imgctl a red st", "cmdline"), {})
end

return M
