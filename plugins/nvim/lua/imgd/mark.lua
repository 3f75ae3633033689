--- The place in a buffer that a link will be at: it moves with the text, and shows how far the picture is.
local config = require("imgd.config")
local link = require("imgd.link")
local paths = require("imgd.paths")
local M = {}

local space = vim.api.nvim_create_namespace("imgd")

--- Where the cursor is: its row, counted from 0, and its column in bytes. While Neovim starts (`nvim -c`), it stands before
--- the first row.
function M.cursor()
  local at = vim.api.nvim_win_get_cursor(0)
  return math.max(at[1] - 1, 0), at[2]
end

--- Marks a place. `row` is counted from 0, `column` in bytes; `below` puts links into lines of their own after that row.
function M.new(buffer, row, column, below)
  local id = vim.api.nvim_buf_set_extmark(buffer, space, row, column, {})
  return { buffer = buffer, id = id, below = below }
end

local function place(mark)
  if not vim.api.nvim_buf_is_loaded(mark.buffer) then
    return nil
  end
  local at = vim.api.nvim_buf_get_extmark_by_id(mark.buffer, space, mark.id, {})
  return at[1], at[2]
end

--- Shows a text behind the marked line; an empty one shows none.
function M.show(mark, text)
  local row, column = place(mark)
  if not row then
    return
  end
  local shown = config.values.virtual_text and text ~= "" and { { " " .. text, "Comment" } } or nil
  vim.api.nvim_buf_set_extmark(mark.buffer, space, row, column, { id = mark.id, virt_text = shown })
end

function M.remove(mark)
  if vim.api.nvim_buf_is_loaded(mark.buffer) then
    vim.api.nvim_buf_del_extmark(mark.buffer, space, mark.id)
  end
end

--- Ends the step of undoing that is under way, so that what comes next is one of its own.
local function undo_step(buffer)
  vim.api.nvim_buf_call(buffer, function()
    vim.cmd("let &g:undolevels = &g:undolevels")
  end)
end

--- Writes a link to the picture at `path` (absolute) at the mark, which then stands behind it. Returns true, or false and
--- why not.
function M.insert(mark, path, prompt)
  local row, column = place(mark)
  if not row then
    return false, "its buffer was closed"
  end
  local buffer = mark.buffer
  if not vim.bo[buffer].modifiable then
    return false, "its buffer cannot be changed"
  end
  local lines = link.lines(vim.bo[buffer].filetype, paths.relative(path, paths.of_buffer(buffer)), prompt)
  undo_step(buffer)
  local from = column
  if mark.below then
    local line = vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1] or ""
    column = #line
    if line:match("^%s*$") then
      from = 0
    else
      from = column
      table.insert(lines, 1, "")
    end
  end
  -- Text is put between what is there, so that the marks of other pictures stay where they are.
  vim.api.nvim_buf_set_text(buffer, row, from, row, column, lines)
  column = #lines == 1 and from + #lines[1] or #lines[#lines]
  row = row + #lines - 1
  undo_step(buffer)
  vim.api.nvim_buf_set_extmark(buffer, space, row, column, { id = mark.id })
  return true
end

return M
