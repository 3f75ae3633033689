--- What a person does while a picture is drawn.
local t = require("support")
local M = {}

--- Starts a drawing that takes a while, and waits for its first step.
local function begin(arguments)
  vim.cmd("Imgctl steps=60 seed=7 " .. (arguments or "a red apple"))
  t.wait(function()
    return require("imgd").statusline():match("imgd %d+/60") ~= nil
  end, "a step is done")
end

local LINK = "![a red apple](a-red-apple-7.png)"

function M.the_link_goes_where_the_mark_went()
  t.open("notes.md", { "one", "two", "three" })
  vim.cmd("call cursor(2, 1)")
  begin()
  vim.api.nvim_buf_set_lines(0, 0, 0, false, { "new", "new" })
  vim.cmd("3delete")
  t.finish()
  t.equal(t.lines(), { "new", "new", "two", LINK, "three" })
end

function M.undo_takes_the_link_away_in_one_step_and_nothing_else()
  t.open("notes.md", { "one" })
  begin()
  vim.cmd("normal! Atyped")
  t.finish()
  t.equal(t.lines(), { "onetyped", LINK })
  vim.cmd("silent undo")
  t.equal(t.lines(), { "onetyped" })
  vim.cmd("silent undo")
  t.equal(t.lines(), { "one" })
  vim.cmd("silent redo | silent redo")
  t.equal(t.lines(), { "onetyped", LINK })
end

function M.a_hidden_buffer_gets_its_link()
  vim.o.hidden = true
  local buffer = t.open("notes.md", { "one" })
  begin()
  t.open("other.md", { "other" })
  t.finish()
  t.equal(t.lines(buffer), { "one", LINK })
  t.equal(t.lines(), { "other" })
end

function M.of_a_closed_buffer_the_path_is_told()
  local _, folder = t.open("notes.md", { "one" })
  begin()
  vim.cmd("bwipeout!")
  t.finish()
  t.png(folder .. "/a-red-apple-7.png")
  local escaped = vim.pesc(folder .. "/a-red-apple-7.png")
  t.matches(t.message(), "the picture is " .. escaped .. "; no link was inserted: its buffer was closed")
end

function M.a_buffer_that_cannot_be_changed_keeps_its_text()
  t.open("notes.md", { "one" })
  begin()
  vim.bo.modifiable = false
  t.finish()
  t.equal(t.lines(), { "one" })
  t.matches(t.message(), "its buffer cannot be changed")
end

function M.several_at_once_find_their_own_places()
  t.open("notes.md", { "one", "two", "", "four" })
  vim.cmd("call cursor(1, 1) | Imgctl steps=20 seed=1 first")
  vim.cmd("call cursor(2, 1) | Imgctl steps=4 seed=2 second")
  vim.cmd("call cursor(3, 1) | Imgctl steps=12 seed=3 third")
  t.equal(#require("imgd.drawings").active, 3)
  t.finish()
  t.equal(t.lines(), { "one", "![first](first-1.png)", "two", "![second](second-2.png)", "![third](third-3.png)", "four" })
end

function M.the_cursor_setting_puts_the_link_into_the_line()
  require("imgd").setup({ insert = "cursor" })
  t.open("notes.md", { "see  there" })
  vim.cmd("call cursor(1, 5)")
  begin()
  vim.api.nvim_buf_set_text(0, 0, 0, 0, 3, { "look" })
  t.finish()
  t.equal(t.lines(), { "look " .. LINK .. " there" })
end

--- A second Neovim, in which a person types.
function M.typing_goes_on_and_undo_keeps_what_was_typed()
  local _, folder = t.open("notes.md", { "one" })
  local path = folder .. "/notes.md"
  vim.cmd("bwipeout!")
  local root = vim.api.nvim_get_runtime_file("plugin/imgd.lua", false)[1]:gsub("/plugin/imgd.lua$", "")
  local arguments = { vim.v.progpath, "--embed", "--headless", "-n", "-u", "NONE", "--cmd", "set rtp^=" .. root, path }
  local child = vim.fn.jobstart(arguments, { rpc = true })
  local function ask(...)
    return vim.fn.rpcrequest(child, ...)
  end
  local function text()
    return ask("nvim_buf_get_lines", 0, 0, -1, false)
  end
  ask("nvim_command", "runtime plugin/imgd.lua | filetype on | Imgctl steps=60 seed=7 a red apple")
  ask("nvim_input", "oabc")
  t.wait(function()
    return #text() == 3
  end, "the link")
  ask("nvim_input", "def<Esc>")
  t.wait(function()
    return ask("nvim_get_mode").mode == "n"
  end, "the end of typing")
  t.equal(text(), { "one", LINK, "abcdef" })
  -- Newer versions of Neovim make what is typed behind the link a step of its own.
  local alone = false
  while #text() > 1 do
    local before = text()
    ask("nvim_command", "undo")
    alone = alone or (before[2] == LINK and vim.deep_equal(text(), { before[1], before[3] }))
  end
  t.equal({ alone, text() }, { true, { "one" } })
  ask("nvim_command", "redo | redo | silent! redo")
  t.equal(text(), { "one", LINK, "abcdef" })
  vim.fn.rpcnotify(child, "nvim_command", "qall!")
  vim.fn.jobwait({ child }, 10000)
end

return M
